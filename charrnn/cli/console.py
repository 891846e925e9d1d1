"""Names of charrnn.render and charrnn.cli.messages, until their users import them from there."""

from charrnn.cli.messages import notices as notices
from charrnn.cli.messages import say as say
from charrnn.render.bars import Progress as Progress
from charrnn.render.tables import print_facts as print_facts
from charrnn.render.tables import print_table as print_table
from charrnn.render.tables import standard_error as talk
from charrnn.render.terminal import print_json as print_json

__all__ = ["Progress", "notices", "print_facts", "print_json", "print_table", "say", "talk"]
