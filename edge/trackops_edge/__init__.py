"""The edge: Envoy's configuration, made from the contracts and one template."""
