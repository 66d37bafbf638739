"""The reference manual of all interfaces as one Markdown page."""


def page(schema):
    return "# Interfaces\n"
