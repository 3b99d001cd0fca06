"""Puts a web process together: `gunicorn -c web/gunicorn.py 'web.app:create_app()'`."""

from __future__ import annotations

import sys

import gevent
from flask import Flask, Response, g, request
from gunicorn.arbiter import Arbiter

from mesh import logs, wire
from mesh.errors import ConfigError
from mesh.memory import calm_collector
from mesh.reload import Reloaded
from mesh.seal import Sealer
from mesh.settings import SETTINGS, Environment
from web import errors, metrics
from web.auth import Gatekeeper
from web.door import Door, Pressure
from web.endpoints import BLUEPRINTS
from web.front import Front, request_id
from web.guardian import open_guardian
from web.pipe import Pipe
from web.replies import Replies
from web.setup import reader


def create_door(environment: Environment) -> Door:
    settings = Reloaded(environment.config / SETTINGS, reader(environment))
    address = wire.Address.parse(environment.redis_url)
    pipe = Pipe(address, "web")
    return Door(
        environment=environment,
        settings=settings,
        pipe=pipe,
        freight=Pipe(address, "web-freight"),
        replies=Replies(address, pipe),
        sealer=Sealer(environment.masters("seal")),
        guardian=open_guardian(environment, settings),
        secrets=Sealer(environment.masters("door")) if environment.door_key or environment.door_key_file else None,
        gatekeeper=Gatekeeper(pipe, lambda: settings.current.config),
        pressure=Pressure(lambda: settings.current.config.lanes.memory_share),
    )


def create_app(environment: Environment | None = None) -> Flask:
    environment = environment or Environment()
    logs.configure(environment.log_level)
    try:
        door = create_door(environment)
    except ConfigError as error:
        print(f"gateway web: {error}", file=sys.stderr)
        # gunicorn stops at this code; at any other it would start the worker again and again.
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
    app = Flask("gateway", static_folder=None)
    app.url_map.merge_slashes = False  # a path with too many is answered as any other that is not there, not redirected
    app.config["MAX_CONTENT_LENGTH"] = door.config.requests.max_body_bytes
    app.extensions["door"] = door
    errors.register(app)
    for make in BLUEPRINTS.values():
        app.register_blueprint(make(door))
    meters = metrics.Requests()

    @app.before_request
    def arrive() -> None:
        g.began = meters.now()

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers["x-request-id"] = request_id(request.environ)
        meters.count(request.url_rule.rule if request.url_rule else "none", response.status_code, g.began)
        return response

    app.wsgi_app = Front(door, app.wsgi_app, meters)  # type: ignore[method-assign]  # Flask's own way to put something before it
    door.start()
    gevent.spawn(meters.show_waiting, lambda: door.replies.waiting)
    calm_collector()
    return app
