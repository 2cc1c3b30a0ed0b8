"""The Python agent runtime that stigmer carries inside itself.

Two halves with one rule between them. The worker (`cli`, `config`, `loopback`, `worker`, `process`) is what the
supervisor starts and waits for: it uses a few modules of the standard library and nothing else, because every import
there delays every start. The agent (`ask`, `graph`, `providers`) uses the large libraries, and is imported only when
there is something for it to do.
"""

__version__ = "0.1.0"
