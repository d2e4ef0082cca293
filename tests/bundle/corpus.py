"""Archives that a bundle reader must refuse, each with the words that it must refuse it with."""

from tests.bundle.crafted import Hostile
from tests.bundle.hostile.floods import FLOODS
from tests.bundle.hostile.headers import HEADERS
from tests.bundle.hostile.kinds import KINDS
from tests.bundle.hostile.manifests import MANIFESTS
from tests.bundle.hostile.names import NAMES
from tests.bundle.hostile.outside import OUTSIDE
from tests.bundle.hostile.streams import STREAMS

HOSTILE: Hostile = {**OUTSIDE, **KINDS, **NAMES, **HEADERS, **STREAMS, **FLOODS, **MANIFESTS}
