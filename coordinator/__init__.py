"""The coordinating tiers of Tiercast: documents, store, propagation, MIC (Master Infrastructure Configurator),
IC (Site Infrastructure Configurator), API and command line. It never imports `nodeagent`.
"""
