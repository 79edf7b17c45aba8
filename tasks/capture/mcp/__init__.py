"""The MCP server: the four tools by which an agent says when a task starts and ends.

`front` answers the client at once, `server` speaks the protocol with the official SDK, `calls` does the work with the
database. Each imports the next only when it is needed, because agents wait about a second for a server's first word.
"""
