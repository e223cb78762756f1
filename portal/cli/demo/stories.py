"""Eight suppliers, and what becomes of each."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from portal.cli.demo.makers import Workshop
from portal.cli.demo.stage import Company, Stage
from portal.reassessment import service as reassessment
from portal.reassessment.models import ChangeKind
from portal.review.models import DecisionKind
from portal.suppliers import service as suppliers
from portal.suppliers.models import Product

CARRIERS = ("Fjordline Freight", "Meridian Data Centres")


def _papers(workshop: Workshop, company: Company) -> Path:
    """One document that backs every answer of a questionnaire."""
    return workshop.document(
        "evidence-package",
        f"Evidence package of {company.name}",
        [
            "Register extract, factory certificate, firmware signing policy, life-cycle statement,",
            "type test report, safety certificates and service procedures.",
            "All names and figures are invented for a demonstration.",
        ],
    )


def _equipped(
    stage: Stage, name: str, country: str, admin: str, model: str, product: str, *, tier: int = 2
) -> tuple[Company, Workshop, Product]:
    company = stage.company(name, country, admin=admin)
    workshop = Workshop(stage.settings.var_dir / "demo" / name.lower().replace(" ", "-"), name)
    return company, workshop, company.product(model, product, components=("BMS",), tier=tier)


def _made() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)


def nordhaven(stage: Stage) -> None:
    """Everything right, in the most critical tier: approved by two people."""
    company, workshop, product = _equipped(
        stage, "Nordhaven Cells", "NO", "Ingrid Solberg", "NH-100", "NH-100 rack battery", tier=1
    )
    signing = workshop.imgtool_key("firmware", "ecdsa-p256")
    attesting = workshop.openssl_key("attestation")
    company.approved_key("Firmware release key", signing.public_pem, "firmware")
    company.approved_key("Test line key", attesting.public_pem, "attestation")
    company.questionnaire(product, _papers(workshop, company))
    company.firmware(product, "BMS", "2.4.0", workshop.image("bms-2.4.0", "2.4.0", counter=12, key=signing))
    units = workshop.units("NHC26", 2000, {"BMS": "2.4.0"})
    manifest = workshop.manifest(
        "NH-2026-117", "NH-100", company.maker, "Narvik 1", units, made=_made(), holders=CARRIERS
    )
    lot = company.lot(product, "NH-2026-117", manifest)
    company.attest(lot, workshop.attestations("NH-2026-117", units, attesting))
    first, second = stage.approvers
    company.decide(product, DecisionKind.APPROVE, "Every claim of weight is proven.", by=first)
    company.decide(product, DecisionKind.APPROVE, "Agreed after my own look at the evidence.", by=second)


def kestrel(stage: Stage) -> None:
    """Firmware that is encrypted but not signed."""
    company, workshop, product = _equipped(
        stage, "Kestrel UPS", "GB", "Maeve Corrigan", "K-40", "Kestrel 40 kVA UPS"
    )
    secret = workshop.imgtool_key("encryption", "ecdsa-p256")
    company.questionnaire(product, _papers(workshop, company))
    image = workshop.image("bms-5.0.1", "5.0.1", counter=1, key=None, encrypt_for=secret)
    company.firmware(product, "BMS", "5.0.1", image)


def aldgate(stage: Stage) -> None:
    """The same version with other bytes."""
    company, workshop, product = _equipped(
        stage, "Aldgate BMS", "GB", "Tobias Finch", "A-BMS3", "Aldgate battery controller 3"
    )
    signing = workshop.imgtool_key("firmware", "ed25519")
    company.approved_key("Firmware key", signing.public_pem, "firmware")
    company.questionnaire(product, _papers(workshop, company), fw_algorithm="ed25519")
    company.firmware(product, "BMS", "1.7.2", workshop.image("bms-a", "1.7.2", counter=4, key=signing))
    company.firmware(product, "BMS", "1.7.2", workshop.image("bms-b", "1.7.2", counter=4, key=signing))


def lumen(stage: Stage) -> None:
    """A validly signed downgrade."""
    company, workshop, product = _equipped(
        stage, "Lumen Rack", "DE", "Jana Kessler", "LR-12", "Lumen rack battery 12"
    )
    signing = workshop.imgtool_key("firmware", "rsa-3072")
    company.approved_key("Release key", signing.public_pem, "firmware")
    company.questionnaire(product, _papers(workshop, company), fw_algorithm="rsa_3072")
    company.firmware(product, "BMS", "3.2.0", workshop.image("bms-3.2.0", "3.2.0", counter=9, key=signing))
    company.firmware(product, "BMS", "3.1.4", workshop.image("bms-3.1.4", "3.1.4", counter=8, key=signing))


def ostrava(stage: Stage) -> None:
    """Serials that another supplier delivered before: Nordhaven's."""
    company, workshop, product = _equipped(
        stage, "Ostrava Pack", "CZ", "Petra Vrana", "OP-7", "Ostrava pack 7"
    )
    signing = workshop.imgtool_key("firmware")
    attesting = workshop.openssl_key("attestation")
    company.approved_key("Firmware key", signing.public_pem, "firmware")
    company.approved_key("Attestation key", attesting.public_pem, "attestation")
    company.questionnaire(product, _papers(workshop, company))
    company.firmware(product, "BMS", "1.0.9", workshop.image("bms-1.0.9", "1.0.9", counter=2, key=signing))
    units = workshop.units("OSP", 300, {"BMS": "1.0.9"})
    for number in range(40):
        units[100 + number]["serial"] = f"NHC26{500 + number:06d}"
    manifest = workshop.manifest(
        "OP-88", "OP-7", company.maker, "Ostrava", units, made=_made(), holders=CARRIERS
    )
    lot = company.lot(product, "OP-88", manifest)
    company.attest(lot, workshop.attestations("OP-88", units, attesting))


def tamar(stage: Stage) -> None:
    """1,000 attestations of which 3 were tampered with, and one unit missing."""
    company, workshop, product = _equipped(
        stage, "Tamar Storage", "PT", "Rui Sequeira", "TS-5", "Tamar storage module 5"
    )
    signing = workshop.imgtool_key("firmware")
    attesting = workshop.openssl_key("attestation")
    company.approved_key("Firmware key", signing.public_pem, "firmware")
    company.approved_key("Attestation key", attesting.public_pem, "attestation")
    company.questionnaire(product, _papers(workshop, company))
    company.firmware(product, "BMS", "4.0.0", workshop.image("bms-4.0.0", "4.0.0", counter=3, key=signing))
    units = workshop.units("TSM", 1001, {"BMS": "4.0.0"})
    manifest = workshop.manifest(
        "TS-0426", "TS-5", company.maker, "Setúbal", units, made=_made(), holders=CARRIERS
    )
    lot = company.lot(product, "TS-0426", manifest)
    company.attest(lot, workshop.attestations("TS-0426", units[:-1], attesting, tampered=(120, 455, 871)))


def _approved(company: Company, workshop: Workshop, product: Product, version: str) -> str:
    """A supplier with signed firmware, approved; returns the id of the firmware key."""
    signing = workshop.imgtool_key("firmware")
    key = company.approved_key("Firmware key", signing.public_pem, "firmware")
    company.questionnaire(product, _papers(workshop, company))
    company.firmware(
        product, "BMS", version, workshop.image(f"bms-{version}", version, counter=6, key=signing)
    )
    company.decide(product, DecisionKind.APPROVE, "Documents and firmware hold; first lot to be checked.")
    return key.id


def brightwater(stage: Stage) -> None:
    """A bill-of-materials change that re-opens an approved assessment."""
    company, workshop, product = _equipped(
        stage, "Brightwater Power", "NL", "Saskia de Boer", "BW-200", "Brightwater 200 kW UPS"
    )
    _approved(company, workshop, product, "6.1.0")
    with stage.acting(company.actor) as session:
        reassessment.file_notice(
            session,
            company.actor,
            stage.clock,
            stage.jobs,
            kind=ChangeKind.BOM,
            title="Cell supplier of the BW-200 battery module changes",
            description="Cells of another maker from lot 2027-01 on: same capacity class, other blend.",
            product_id=product.id,
        )
    stage.wait()


def fenwick(stage: Stage) -> None:
    """A key distrusted after approval: everything signed with it is assessed again."""
    company, workshop, product = _equipped(
        stage, "Fenwick Energy", "IE", "Ciara Dunne", "FE-9", "Fenwick cabinet 9"
    )
    key_id = _approved(company, workshop, product, "2.2.1")
    with stage.acting(stage.reviewer) as session:
        key = suppliers.distrust_key(
            session,
            stage.reviewer,
            stage.clock,
            key_id,
            since=stage.clock.now() - timedelta(days=14),
            reason="The supplier reports that its build server was broken into two weeks ago.",
        )
        reassessment.key_distrusted(session, stage.reviewer, stage.clock, stage.jobs, key)
    stage.wait()


STORIES: dict[str, tuple[str, Callable[[Stage], None]]] = {
    "Nordhaven Cells": ("everything right", nordhaven),
    "Kestrel UPS": ("firmware encrypted but not signed", kestrel),
    "Aldgate BMS": ("same version, other bytes", aldgate),
    "Lumen Rack": ("a signed downgrade", lumen),
    "Ostrava Pack": ("serials delivered before by another", ostrava),
    "Tamar Storage": ("tampered attestations, a unit missing", tamar),
    "Brightwater Power": ("a BOM change after approval", brightwater),
    "Fenwick Energy": ("a key distrusted after approval", fenwick),
}
