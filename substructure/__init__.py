"""What is inside a jet: its constituents recombined, groomed, and measured with N-subjettiness.

Nothing here knows where jets come from: constituents are an array of momenta with the rows of each
jet. The detector and the ntuplizer both use it.
"""
