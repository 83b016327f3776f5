"""`trackops saga`: sagas, one by one and many at once."""

from trackops_cli.saga.commands import app
from trackops_cli.saga.many import many

app.add_typer(many, name="many")

__all__ = ["app"]
