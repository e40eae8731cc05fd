"""What the workflows of the tests are made of. Each room of tests has its own workflows, where their tests are."""
