"""A chat room: kinds of your own, clients that publish with narrow tokens, and who is here."""
