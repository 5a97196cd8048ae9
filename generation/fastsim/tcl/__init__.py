"""A small Tcl, enough for detector cards and unable to reach anything outside them."""
