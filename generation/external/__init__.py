"""The programs of others, MadGraph and Delphes, driven and checked: the container backend.

Nothing here imports Pythia or the embedded detector simulation, so that it runs in the programs'
own environment (`workflow/envs/generation.yaml`).
"""
