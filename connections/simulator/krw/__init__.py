"""The won exchanges' wire format, as far as Upbit and Bithumb have it in common; what differs is a `Wire`."""
