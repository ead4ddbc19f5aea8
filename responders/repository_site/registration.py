"""The one call that puts the site into an application."""

from __future__ import annotations

from quart_trio import QuartTrio

from responders.repository_site.api import add_api
from responders.repository_site.pages import entrances, pages_of
from responders.repository_site.responses import protect
from responders.repository_site.site import RepositorySite
from responders.repository_site.wording import Language


def add_repository_site(app: QuartTrio, site: RepositorySite) -> None:
    """Add the site's routes to an application that may have a route for all other paths.

    The paths are `/` (GET only), `/zh`, `/en`, `/site`, `/api/v1`, `/repository` and the directory of the CA's
    certificate.

    Args:
        app: the application.
        site: the sources.
    """
    blueprints = [add_api(app, site), *(pages_of(site, language) for language in Language), entrances(site)]
    for blueprint in blueprints:
        blueprint.after_request(protect)
        app.register_blueprint(blueprint)
