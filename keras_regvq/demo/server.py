"""The page's server: files, and one question after the other to the models."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keras_regvq.demo.images import MOST_BYTES
from keras_regvq.demo.studio import Studio

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
MOST_WAITING = 16
HEADERS = {
    # The page asks nobody else for anything, and nobody else may show it.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Busy(Exception):
    """More people are waiting than the queue takes."""


class Queue:
    """One worker for all: models are not made for several threads."""

    def __init__(self):
        self._worker = ThreadPoolExecutor(1)
        self._waiting, self._lock = 0, threading.Lock()

    async def run(self, function, *args, **options):
        with self._lock:
            if self._waiting >= MOST_WAITING:
                raise Busy
            self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, lambda: function(*args, **options))
        finally:
            with self._lock:
                self._waiting -= 1

    def close(self):
        self._worker.shutdown(wait=False, cancel_futures=True)


def make_app(presets):
    """The Starlette application.

    Args:
        presets: names or folders, for a `Studio`.
    """
    studio, queue = Studio(presets), Queue()

    async def page(request):
        name = request.path_params.get("name", "index.html")
        path = PAGE / name
        if name not in {file.name for file in PAGE.iterdir()} or path.suffix not in KINDS:
            return Response("Not found", 404)
        return FileResponse(path, media_type=KINDS[path.suffix], headers=HEADERS)

    def answering(function):
        async def answer(request):
            try:
                arguments = await _arguments(request)
                result = await queue.run(function, **arguments)
            except Exception as error:
                return _refusal(error)
            return JSONResponse(result, headers=HEADERS)

        return answer

    async def look(request):
        try:
            data = await _body(request)
            preset = request.query_params.get("preset", "")
            result = await queue.run(studio.look, preset, data)
        except Exception as error:
            return _refusal(error)
        return JSONResponse(result, headers=HEADERS)

    async def write(request):
        try:
            arguments = await _arguments(request)
        except Exception as error:
            return _refusal(error)
        return StreamingResponse(
            _lines(queue, studio.write, arguments), media_type="text/plain", headers=HEADERS
        )

    posts = {
        "maps": studio.describe_maps,
        "paint": studio.paint,
        "vocabulary": studio.vocabulary,
        "decode": studio.decode,
        "codebook": studio.codebook,
    }
    routes = [Route(f"/api/{name}", answering(f), methods=["POST"]) for name, f in posts.items()]
    routes += [
        Route("/api/describe", lambda _: JSONResponse(studio.describe(), headers=HEADERS)),
        Route("/api/look", look, methods=["POST"]),
        Route("/api/write", write, methods=["POST"]),
        Route("/", page),
        Route("/{name}", page),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        queue.close()

    return Starlette(routes=routes, lifespan=lifespan)


class PageServer(uvicorn.Server):
    """Serves the page, and says where once it does.

    Args:
        presets: as for `make_app`.
        host, port: where to listen; port 0 is any that is free.
    """

    def __init__(self, presets, host, port):
        app = make_app(presets)
        super().__init__(uvicorn.Config(app, host, port, log_level="warning", lifespan="on"))

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"Open http://{host}:{port} in a browser; Ctrl-C ends it.", flush=True)


async def _body(request):
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST_BYTES:
            raise ValueError(f"That is more than {MOST_BYTES // 2**20} MB.")
    return bytes(data)


async def _arguments(request):
    try:
        arguments = json.loads(await _body(request))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("The page's question could not be read.") from error
    if not isinstance(arguments, dict):
        raise ValueError("The page's question could not be read.")
    return arguments


async def _lines(queue, function, arguments):
    """Lines of JSON as a function shows what it has: {"done", "of", "pictures"} or {"error"}."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue()

    def show(done, of, pictures):
        line = {"done": done, "of": of, "pictures": pictures}
        loop.call_soon_threadsafe(lines.put_nowait, line)

    async def work():
        try:
            await queue.run(function, **arguments, show=show)
        except Exception as error:
            await lines.put({"error": sentence(error)})
        await lines.put(None)

    task = asyncio.create_task(work())
    while (line := await lines.get()) is not None:
        yield json.dumps(line) + "\n"
    await task


def _refusal(error):
    status = 503 if isinstance(error, Busy) else 400
    if not isinstance(error, (Busy, ValueError, OSError, TypeError)):
        status = 500
    return JSONResponse({"error": sentence(error)}, status, headers=HEADERS)


def sentence(error):
    """What an error says to somebody who did not write the code."""
    if isinstance(error, Busy):
        return f"{MOST_WAITING} questions are waiting already. Try again in a minute."
    if isinstance(error, MemoryError):
        return "There is not enough memory for that."
    if isinstance(error, TypeError):
        return "The page's question has something that is not known here."
    text = " ".join(str(error).split())
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"
