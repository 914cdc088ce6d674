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
        from keras_regvq.demo.server import PageServer
    except ImportError as error:
        raise ImportError('The page needs more: pip install "keras_regvq[demo]"') from error
    server = PageServer(args.preset, args.host, args.port)
    server.run()
    if not server.started:
        raise OSError(f"Nothing can listen on port {args.port} of {args.host}: name another --port")
    return "The page is closed."
