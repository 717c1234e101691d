"""The other servers, each as its own documentation starts it, around one and the same engine.

They run in an environment of their own (`install_peers.sh`), which has neither the service's packages nor its
code; all they share with it is a network's definition.
"""
