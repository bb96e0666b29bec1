"""The conductor: Prefect decides when and how stages run, DVC what is still current.

The only place that imports Prefect or calls DVC.
"""
