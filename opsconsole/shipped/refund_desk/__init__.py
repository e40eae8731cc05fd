"""The workflow `refund_desk`: customer messages, an orders file and written terms; refunds and replies as effects."""
