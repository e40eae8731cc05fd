"""The Django app of the benchmarks' workflows. Holds no models."""

from django.apps import AppConfig


class BenchFlowsConfig(AppConfig):
    name = "opsconsole.bench.flows"
    label = "bench_flows"
    verbose_name = "Benchmarks"

    def ready(self) -> None:
        from opsconsole.bench.flows import unguarded

        unguarded.install()
