"""After: Django alone. It gives its events to the router and signs tokens; no client is connected to it.

postroom serve                                 with POSTROOM_SECRET
gunicorn -b 127.0.0.1:8080 after_server        with POSTROOM_SECRET, and POSTROOM_TOKEN of role service
"""

from __future__ import annotations

import atexit
import os
import time

import django
import jwt
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from postroom_client import Custom, Progress, Service

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="an example, not a secret")
django.setup()

postroom = Service(os.environ.get("POSTROOM_API_URL", "http://127.0.0.1:8001"), token=os.environ.get("POSTROOM_TOKEN"))
atexit.register(postroom.close)


@csrf_exempt
def token(request: HttpRequest, user: str) -> JsonResponse:  # in yours: for request.user
    claims = {"sub": user, "exp": int(time.time()) + 15 * 60, "rooms": ["job:*"]}
    return JsonResponse({"token": jwt.encode(claims, os.environ["POSTROOM_SECRET"], algorithm="HS256")})


@csrf_exempt
def run(request: HttpRequest, job: int) -> JsonResponse:
    for step in range(1, 4):
        postroom.tell(Progress(f"job:{job}", step, 3))
    postroom.ask_sync(Custom(f"job:{job}", "job.done", {"result": "report.pdf"}), timeout=5)
    return JsonResponse({"steps": 3})


urlpatterns = [path("tokens/<str:user>", token), path("jobs/<int:job>", run)]
application = get_wsgi_application()
