"""Password hashing: Argon2id at parameters that a log-in can afford (19 MiB, two passes: about 20 ms)."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2idHasher(Argon2PasswordHasher):
    """OWASP's second recommended setting; Django's own default takes 100 MiB a log-in."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
