"""The detectors and small fleets that these tests share."""

from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

DETECTORS = {
    "OneClassSVM": OneClassSVM(nu=0.1),
    "SGDOneClassSVM": SGDOneClassSVM(nu=0.1, random_state=0),
    "IsolationForest": IsolationForest(n_estimators=10, contamination=0.1, random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "EllipticEnvelope": EllipticEnvelope(random_state=0),
}
