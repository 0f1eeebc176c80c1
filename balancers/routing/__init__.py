"""From a request to the value that serves it: client addresses, routes, splits, flows."""
