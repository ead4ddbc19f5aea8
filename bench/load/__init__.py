"""Load tests that give a verdict: `sealmint load` (docs/load-tests.md).

Only `bench/locustfile.py` imports locust: locust patches sockets and threads for gevent, which a trio process must not
have in it.
"""
