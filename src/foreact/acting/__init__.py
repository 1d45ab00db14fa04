"""From what many robots see to what each is to do: shared by evaluation, which drives simulators, and by the server."""
