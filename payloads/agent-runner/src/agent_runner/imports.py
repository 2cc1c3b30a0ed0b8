"""The large libraries, which are imported one after the other.

Several threads that import at once wait for each other, module by module, and may see half of a package.
"""

from __future__ import annotations

import threading

# Held while a large library is imported. Whoever waits for it waits for one library, not for all of them.
lock = threading.RLock()
