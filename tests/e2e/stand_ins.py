"""Stand-ins for CRDs of cert-manager and of the Prometheus operator, neither of which is installed here.

They have only the fields that manifests/ uses, so the API server checks those objects: kubectl refuses fields that a
schema does not have.
"""

TEXT, FLAG, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def array(items):
    return {"type": "array", "items": items}


def record(required=(), **properties):
    """The schema of an object."""
    return {"type": "object", "properties": properties, "required": list(required)}


CERT_MANAGER = {
    ("issuers", "Issuer"): record(selfSigned=record(), ca=record(["secretName"], secretName=TEXT)),
    ("certificates", "Certificate"): record(
        ["issuerRef", "secretName"], secretName=TEXT, commonName=TEXT, isCA=FLAG, duration=TEXT, dnsNames=array(TEXT),
        usages=array({"type": "string", "enum": ["digital signature", "server auth"]}),
        privateKey=record(algorithm={"type": "string", "enum": ["RSA", "ECDSA", "Ed25519"]}, size=NUMBER,
                          rotationPolicy={"type": "string", "enum": ["Never", "Always"]}),
        issuerRef=record(["name"], name=TEXT, kind=TEXT, group=TEXT)),
}

PROMETHEUS_OPERATOR = {
    ("servicemonitors", "ServiceMonitor"): record(
        ["endpoints", "selector"], jobLabel=TEXT, selector=record(matchLabels=TEXTS), endpoints=array(record(
            port=TEXT, path=TEXT, scheme={"type": "string", "enum": ["http", "https"]}, interval=TEXT, honorLabels=FLAG,
            bearerTokenFile=TEXT, tlsConfig=record(insecureSkipVerify=FLAG)))),
    ("prometheusrules", "PrometheusRule"): record(groups=array(record(["name"], name=TEXT, rules=array(record(
        ["expr"], alert=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, **{"for": TEXT}))))),
}


def install(plane, kinds, group, version):
    """Creates the CRDs of `kinds`, one of the tables above, and waits until the API server serves them."""
    for (plural, kind), spec in kinds.items():
        plane.admin.create("customresourcedefinitions", None, {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced",
                     "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": version, "served": True, "storage": True, "schema": {
                         "openAPIV3Schema": record(spec=spec)}}]}})
    for plural, _ in kinds:
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{plural}.{group}")


def install_all(plane):
    install(plane, CERT_MANAGER, "cert-manager.io", "v1")
    install(plane, PROMETHEUS_OPERATOR, "monitoring.coreos.com", "v1")
