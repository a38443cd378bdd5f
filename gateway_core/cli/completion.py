"""`spl completion`: the script that completes commands and options in a shell."""

import click


@click.command(short_help="Print a completion script for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for SHELL.

    \b
    Example:
      eval "$(spl completion bash)"                                  in ~/.bashrc
      eval "$(spl completion zsh)"                                   in ~/.zshrc
      spl completion fish > ~/.config/fish/completions/spl.fish
    """
    from click.shell_completion import get_completion_class

    scripts = get_completion_class(shell)
    assert scripts is not None  # noqa: S101  # narrows: click has all three
    root = ctx.find_root()
    # `source` would ask the installed bash for its version; the script itself needs none.
    made = scripts(root.command, {}, "spl", "_SPL_COMPLETE")
    click.echo(made.source_template % made.source_vars())
