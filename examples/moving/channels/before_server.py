"""Before: Django with Channels, whose consumers hold the clients' connections.

uvicorn before_server:application --port 8080
"""

from __future__ import annotations

import django
from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example, not a secret",
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()


class JobConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.group = f"job.{self.scope['url_route']['kwargs']['job']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def job_step(self, event: dict[str, object]) -> None:
        await self.send_json(event)

    async def job_done(self, event: dict[str, object]) -> None:
        await self.send_json(event)


@csrf_exempt
def run(request: HttpRequest, job: int) -> JsonResponse:
    send = async_to_sync(get_channel_layer().group_send)
    for step in range(1, 4):
        send(f"job.{job}", {"type": "job.step", "current": step, "total": 3})
    send(f"job.{job}", {"type": "job.done", "result": "report.pdf"})
    return JsonResponse({"steps": 3})


urlpatterns = [path("jobs/<int:job>", run)]
sockets = URLRouter([path("ws/jobs/<int:job>", JobConsumer.as_asgi())])
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": sockets})
