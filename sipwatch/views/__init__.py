"""What people and programs are shown, made once: API, page, events and CLI show it.

Each function is pure over `Sources`: JSON values out, in the shape of the TypedDict
beside it. Times are ISO 8601 UTC with milliseconds; whatever came from the network is
printable and bounded. What may be long is made in slices (`async`): nobody else on the
loop waits for it.
"""
