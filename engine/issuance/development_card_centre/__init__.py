"""A card centre for development: it makes card numbers and public keys as the real one would (CPS 1.3.3, 6.1.1.1).

Its cards have no chip. The private keys are thrown away as soon as they are made, so nobody can ever use what is
certified for them.
"""

from engine.issuance.development_card_centre.card_centre import CardCentre, open_card_centre
from engine.issuance.development_card_centre.card_making import CardRequest, make_card_keys

__all__ = ["CardCentre", "CardRequest", "make_card_keys", "open_card_centre"]
