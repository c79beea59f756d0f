"""The same mathematics in other libraries; each module needs its own, and is measured where that is installed."""
