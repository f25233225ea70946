"""The web application: routes, errors as JSON, headers, and the page."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from facesmith import __version__, weights
from facesmith.errors import MissingExtraError
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector
from facesmith.serve import metrics
from facesmith.serve.answers import MEDIA_TYPES, Format, Options
from facesmith.serve.refusal import Refusal
from facesmith.serve.service import Service

try:
    from fastapi import FastAPI, Query, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import FileResponse, JSONResponse, Response
    from fastapi.staticfiles import StaticFiles
    from starlette.exceptions import HTTPException
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise MissingExtraError("the service needs FastAPI: pip install 'facesmith[serve]'") from error

STATIC = Path(__file__).parent / "static"

# The page needs nothing from elsewhere, and nothing from elsewhere may frame it or be loaded by it.
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_COUNTED = ("/detect", "/models", "/health", "/metrics", "/openapi.json")

_BODY = {
    "requestBody": {
        "required": True,
        "description": "The picture itself, or a form with one file.",
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_FACE = {
    "type": "object",
    "required": ["box", "score"],
    "properties": {
        "box": {"type": "array", "items": {"type": "number"}, "description": "x1, y1, x2, y2 in pixels"},
        "score": {"type": "number"},
        "landmarks": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}},
            "description": "x, y of left eye, right eye, nose, left and right mouth corner; left is left in the image",
        },
        "pose": {"type": "array", "items": {"type": "number"}, "description": "yaw, pitch, roll in degrees"},
        "landmarks68": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "vertices": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    },
}
_FOUND = {
    "type": "object",
    "required": ["model", "width", "height", "threshold", "faces"],
    "properties": {
        "model": {"type": "string"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "threshold": {"type": "number"},
        "faces": {"type": "array", "items": _FACE, "description": "best score first"},
    },
}
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The faces, or the picture with the faces drawn.",
        "content": {"application/json": {"schema": _FOUND}, "image/jpeg": _IMAGE, "image/png": _IMAGE},
    },
    400: {"description": "The picture is damaged or no picture."},
    404: {"description": "No such model."},
    408: {"description": "The picture did not arrive in time."},
    413: {"description": "Too many bytes or pixels."},
    415: {"description": "The body is neither a picture nor a form."},
    422: {"description": "A parameter is wrong."},
    503: {"description": "Too much to do; Retry-After says when to try again."},
}


def create_app(service: Service) -> FastAPI:
    """The application around ``service``, which it closes when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.warm_up)
        yield
        await asyncio.to_thread(service.close)

    # Swagger's and Redoc's pages load their scripts from elsewhere, so there are none.
    app = FastAPI(title="facesmith", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_detect(app, service)
    _add_information(app, service)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(_Watched, service=service)
    return app


def _add_detect(app: FastAPI, service: Service) -> None:
    @app.post("/detect", summary="Find faces", openapi_extra=_BODY, responses=_RESPONSES, response_class=Response)
    async def detect(
        request: Request,
        model: Annotated[str | None, Query(description="a name of /models; by default the first that fits")] = None,
        threshold: Annotated[float, Query(ge=0, le=1, description="lowest score")] = EVERYDAY_THRESHOLD,
        size: Annotated[str, Query(description="the network's input: auto, original, N or short:N")] = "auto",
        landmarks: Annotated[bool, Query(description="give or draw five landmarks")] = True,
        mesh: Annotated[bool, Query(description="give head pose and 68 landmarks, or draw the mesh")] = False,
        vertices: Annotated[bool, Query(description="give the mesh's vertices as well")] = False,
        format: Annotated[Format | None, Query(description="of the answer; without it, Accept decides")] = None,
    ) -> Response:
        """Faces of a picture, best score first; coordinates in pixels of the upright picture."""
        chosen = format or wanted_format(request.headers.get("accept", ""))
        options = Options(threshold, size, landmarks, mesh, vertices, chosen)
        answer = await service.detect(request, service.detector(model, mesh=mesh), options)
        return Response(answer.body, media_type=answer.media_type)


def _add_information(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/models", summary="The models that are served")
    async def models() -> dict[str, Any]:
        rows = [_described(detector) for detector in service.detectors.values()]
        return {"default": rows[0]["name"], "models": rows}

    @app.get("/models/{name}/triangles", summary="How the vertices of a model's meshes are connected")
    async def triangles(name: str) -> Response:
        return JSONResponse(service.triangles(name), headers={"cache-control": "max-age=3600"})

    @app.get("/health", summary="200 while requests are welcome, 503 while the service stops")
    async def health() -> Response:
        status = "stopping" if service.stopping else "ok"
        return JSONResponse({"status": status, "version": __version__}, 503 if service.stopping else 200)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def text() -> Response:
        return Response(service.metrics.text(), headers={"content-type": metrics.CONTENT_TYPE})


def _described(detector: Detector) -> dict[str, Any]:
    """A model's entry in ``/models``; what the table of weights knows is ``null`` for others."""
    record = weights.records().get(detector.name)
    known = record.to_dict() if record is not None and record.sha256 == detector.checksum else {}
    return {
        "name": detector.name,
        "sha256": detector.checksum,
        "device": detector.device,
        "meshes": detector.has_meshes,
        "size": str(detector.usual_size),
        **{key: known.get(key) for key in ("parameters", "face_size_range", "licence", "training_data", "figures")},
    }


def wanted_format(accept: str) -> Format:
    """The format that an Accept header likes best (RFC 9110, 12.5.1); JSON where it does not say.

    ``image/*`` is JPEG. What cannot be given is passed over: a client that takes none of the three gets JSON.
    """
    best: tuple[float, Format] = (0.0, "json")
    for entry in accept.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                with contextlib.suppress(ValueError):
                    quality = float(parameter[2:])
        names: dict[str, Format] = {"*/*": "json", "application/*": "json", "image/*": "jpeg", "image/jpg": "jpeg"}
        names |= {media_type: known for known, media_type in MEDIA_TYPES.items()}
        if name in names and quality > best[0]:
            best = (quality, names[name])
    return best[1]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal | HTTPException)
    if isinstance(error, Refusal):
        return JSONResponse({"error": error.message}, error.status, error.headers)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse({"error": message}, error.status_code, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{one['loc'][-1]}={one.get('input')!s:.40}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": wrong}, 422)


async def _failed(request: Request, error: Exception) -> Response:
    """For what nobody expected; the log has the rest."""
    return JSONResponse({"error": f"internal error: {type(error).__name__}"}, 500)


class _Watched:
    """Counts and times answers, and adds headers to them."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope["path"], message["status"], time.monotonic() - began)
                given = {name for name, _ in message["headers"]}
                more = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in given)]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:  # what is around this answers 500
            self._count(scope["path"], 500, time.monotonic() - began)
            raise

    def _count(self, path: str, status: int, seconds: float) -> None:
        self._metrics.requests.add(labels=(path if path in _COUNTED else "other", str(status)))
        if path == "/detect":
            self._metrics.seconds.observe(seconds)
