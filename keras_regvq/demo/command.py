"""python -m keras_regvq demo: its options, and the start of its server."""

DEFAULT_PRESETS = ("semantic_scenes_64", "text_scenes_64", "regvq_photos_64", "regvq_scenes_64")


def add_demo_command(commands):
    """Add the command to an argparse parser's subparsers."""
    parser = commands.add_parser(
        "demo", help="a page in the browser: draw a map, write a caption, look into the tokens"
    )
    add = parser.add_argument
    add("--preset", nargs="+", default=list(DEFAULT_PRESETS), metavar="PRESET",
        help="tokenizers and generators [the scenes' and the photographs']")  # fmt: skip
    add("--port", type=int, default=7860, help="[7860]; 0: any that is free")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in [127.0.0.1]")


def demo_command(args):
    """Serve until it is interrupted."""
    try:
        import uvicorn

        from keras_regvq.demo.server import make_app
    except ImportError as error:
        raise ImportError('The page needs more: pip install "keras_regvq[demo]"') from error
    config = uvicorn.Config(
        make_app(args.preset), args.host, args.port, log_level="warning", lifespan="on"
    )
    server = _Server(config)
    server.run()
    if not server.started:
        raise OSError(f"Nothing can listen on port {args.port} of {args.host}: name another --port")
    return "The page is closed."


def _server_class():
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            if self.started:
                host, port = self.servers[0].sockets[0].getsockname()[:2]
                print(f"Open http://{host}:{port} in a browser; Ctrl-C ends it.", flush=True)

    return Server


def _Server(config):
    return _server_class()(config)
