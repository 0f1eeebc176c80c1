"""Pictures of shares, moved keys, rings, load over time and response times, for matplotlib.

Every function takes ``ax``, the Axes to draw on, and returns the Axes.  Without ``ax`` it draws on
a new figure in the :func:`style` of this package.  In a notebook the returned Axes is shown as a
picture when it is the last line of a cell; in a program, ``returned.figure.savefig("name.svg")``
writes it.  The new figure is unknown to ``matplotlib.pyplot``, so it needs no ``close``.

The colours can be distinguished by people with each kind of colour blindness, and every colour
comes with a hatch or a line style, so the pictures can be read in grayscale.  The background is
opaque, so they can be read on a dark page as well.

Install ``balancers[plots]`` for matplotlib.
"""

from balancers.quality.plots._latency import latency_curves as latency_curves
from balancers.quality.plots._remap import remap_map as remap_map
from balancers.quality.plots._ring import ring_circle as ring_circle
from balancers.quality.plots._shares import share_bars as share_bars
from balancers.quality.plots._style import COLOURS as COLOURS
from balancers.quality.plots._style import HATCHES as HATCHES
from balancers.quality.plots._style import LINES as LINES
from balancers.quality.plots._style import style as style
from balancers.quality.plots._style import text_colour as text_colour
from balancers.quality.plots._timeline import load_over_time as load_over_time
