"""The service: ``POST /detect`` and a page for the browser, over HTTP. Needs ``pip install 'facesmith[serve]'``.

``app.create_app`` makes the application out of a ``service.Service``; ``server.Server`` runs it.
"""
