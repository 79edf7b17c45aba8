"""What passes on the wire, and how it is kept. Standard library only: this also runs beside mitmproxy."""
