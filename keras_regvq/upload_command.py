"""python -m keras_regvq upload: its options, and what it says."""

from keras_regvq.files.hub_uris import check_hub_uri


def add_upload_command(commands):
    """Add the command to an argparse parser's subparsers."""
    parser = commands.add_parser("upload", help="a preset to Hugging Face or Kaggle")
    parser.add_argument("source", metavar="preset", help="a preset's folder, or a built-in name")
    parser.add_argument("uri", help="hf://user/name or kaggle://user/model/keras/variation")


def upload_command(args):
    """Run it; returns what to print."""
    check_hub_uri(args.uri)  # before anything heavy is imported
    from keras_regvq.presets.upload import upload_preset

    upload_preset(args.uri, args.source)
    return f'{args.source} -> {args.uri}\nLoad it with keras_regvq.from_preset("{args.uri}")'
