"""What routers are run with elsewhere: its files are sound by their own programs, and name what there is.

No image is built and no container is run here: there is no engine for that. What the image copies is installed, the
configurations of nginx and NATS are read by these programs, the others are held against their schemas.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server import settings
from server.http.probes import Probes
from server.settings import Settings

from . import nats_server, nginx
from .docs.taken import taken

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
OBJECTS = [each for file in sorted(KUBERNETES.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
NATS_ENVIRONMENT = {
    "NATS_PASSWORD": "one",
    "NATS_SERVER_PASSWORD": "two",
    "NATS_ROUTES": "[nats://server:two@nats-1:6222, nats://server:two@nats-2:6222]",
}
"""What the configuration of NATS takes from its environment."""
_ELSEWHERE = {"CONFIG", "URL", "API_URL", "TOKEN", "FULL"}
"""`POSTROOM_..` variables that are no settings: the command line reads them, and tests."""


def program(name: str) -> str:
    """Return the path of a program that comes as a wheel."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"there is no {name}: make setup"
    return found


def run(*command: str, **environment: str) -> str:
    """Run a program that must not fail, and return what it said."""
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def kubernetes_object(kind: str, name: str) -> dict[str, Any]:
    """Return one object of the manifests."""
    (found,) = (each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name)
    assert isinstance(found, dict)
    return found


def container(name: str) -> dict[str, Any]:
    """Return the one container of a stateful set."""
    (found,) = kubernetes_object("StatefulSet", name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def from_image() -> dict[str, str]:
    """Return the settings that the image has."""
    return dict(re.findall(r"(POSTROOM_\w+)=(\S+)", DOCKERFILE))


def from_compose() -> dict[str, str]:
    """Return those of a router of the composition."""
    text = {name: str(value) for name, value in COMPOSE["services"]["router-1"]["environment"].items()}
    return {name: re.sub(r"\$\{.*\}", "x" * 32, value) for name, value in text.items()}


def from_kubernetes() -> dict[str, str]:
    """Return those of a pod; what comes from elsewhere is made up."""
    made_up = "x" * 32
    named = {each["name"]: each.get("value", made_up) for each in container("postroom")["env"]}
    del named["POSTROOM_SECRET_FILE"]  # it is in the pod only
    return named | {"POSTROOM_SECRET": made_up}


# --- What is named exists


@pytest.mark.parametrize("extra", [{}, from_compose(), from_kubernetes()], ids=["image", "compose", "kubernetes"])
def test_every_variable_is_a_setting_with_a_value_that_it_takes(extra: dict[str, str]) -> None:
    environment = from_image() | extra
    assert not settings.unknown_variables(environment)
    resolved, sources = settings.resolve(environ=environment)
    assert {f"POSTROOM_{field.upper()}" for field, source in sources.items() if source != "default"} == {*environment}
    if extra:
        settings.load(environ=environment)
        assert resolved.cluster_replicas == len(resolved.cluster) == 3


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    known = {field.upper() for field in Settings.__struct_fields__} | _ELSEWHERE
    for page in PAGES:
        named = set(re.findall(r"\bPOSTROOM_([A-Z_]*[A-Z])\b", page.read_text()))
        others = {each for each in named - known if not re.fullmatch(r"SERVICE_HOST|EVENTS|ROOMS", each)}
        assert not others, f"{page.relative_to(REPOSITORY)}: {others}"


def test_ports_are_those_that_a_router_has_by_itself() -> None:
    """So nothing has to say them twice."""
    ports = [Settings().port, Settings().api_port]
    (exposed,) = re.findall(r"^EXPOSE (.+)$", DOCKERFILE, re.MULTILINE)
    assert [int(port) for port in exposed.split()] == ports
    assert [each["containerPort"] for each in container("postroom")["ports"]] == ports
    assert [each.split(":")[-1] for each in COMPOSE["services"]["proxy"]["ports"]] == [str(port) for port in ports]
    nginx = (DEPLOY / "nginx.conf").read_text()
    assert [int(port) for port in re.findall(r"listen (\d+);", nginx)] == ports
    assert {int(port) for port in re.findall(r"server router-\d:(\d+)", nginx)} == {*ports}


def test_probes_ask_what_a_router_answers() -> None:
    paths = {call.path for call in Probes(lambda: pytest.fail("nobody asks")).calls()}
    pod = container("postroom")
    assert {pod[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == paths
    assert pod["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert f"127.0.0.1:{Settings().api_port}/healthz" in DOCKERFILE


# --- The image


def test_the_image_is_made_as_its_linter_wants_it() -> None:
    assert not run(program("hadolint"), "Dockerfile")


def test_what_the_image_copies_is_all_that_a_router_is_installed_from(tmp_path: Path) -> None:
    """A copy of just that can be installed, and has all of its files."""
    context = tmp_path / "context"
    for sources, target in re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            copy_into_image(source, context / target / ("" if target.endswith("/") else "."))
    site = tmp_path / "site"
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        *offline,
        "--target",
        str(site),
        f"{context}/clients/python",
        f"{context}",
    )
    for package in ("actors", "server"):
        files = {path.relative_to(REPOSITORY) for path in (REPOSITORY / package).rglob("*") if path.is_file()}
        missing = {path for path in files if path.suffix != ".pyc" and not (site / path).is_file()}
        assert not missing
    said = run(sys.executable, "-P", "-m", "server.cli", "--version", PYTHONPATH=str(site))
    assert re.search(r"\d+\.\d+\.\d+", said)


def copy_into_image(source: str, target: Path) -> None:
    """Copy what the context lets through, as it is copied into an image: links stay links."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_through = [re.escape(line[1:]).replace(r"\*", "[^/]*") for line in lines if line.startswith("!")]
    for path in run("git", "ls-files", "--cached", "--others", "--exclude-standard", source).split():
        if re.match(rf"({'|'.join(let_through)})(/|$)", path):
            copied = target / (Path(path).relative_to(source) if (REPOSITORY / source).is_dir() else Path(path).name)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, copied, follow_symlinks=False)


# --- compose.yaml


def test_the_composition_fits_the_schema_of_compose() -> None:
    run(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_parts_of_the_composition_fit_together() -> None:
    """Whoever is spoken to is there, and what is mounted, too; the public reaches nobody but the proxy's one port."""
    services = COMPOSE["services"]
    servers = [name for name in services if name.startswith("nats-")]
    routers = [name for name in services if name.startswith("router-")]
    assert len(servers) == 3
    assert set(re.findall(r"nats://([\w-]+):4222", json.dumps(services))) == {*servers}
    assert set(re.findall(r"@([\w-]+):6222", json.dumps(services))) == {*servers}
    assert set(re.findall(r"server (router-\d):", (DEPLOY / "nginx.conf").read_text())) == {*routers}
    assert [services[name]["environment"]["POSTROOM_NODE"] for name in routers] == routers
    assert [services[name]["command"][-1] for name in servers] == servers
    for name, service in services.items():
        assert {*service.get("depends_on", ())} <= services.keys()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (REPOSITORY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], volume
        open_to_all = [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")]
        assert open_to_all == (["8000:8000"] if name == "proxy" else [])
    assert seconds(services["router-1"]["stop_grace_period"]) > 30


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


# --- Kubernetes


@pytest.mark.parametrize("each", OBJECTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_the_manifests_fit_the_schemas_of_kubernetes(each: dict[str, Any]) -> None:
    """Without a field that these do not know."""
    kubernetes_validate.validate(each, "1.33", strict=True)


@pytest.mark.parametrize("name", ["postroom", "nats"])
def test_the_manifests_select_each_other(name: str) -> None:
    """By labels that the pods have, and by ports, services and volumes that there are."""
    spec = kubernetes_object("StatefulSet", name)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert kubernetes_object("Service", spec["serviceName"])["spec"]["clusterIP"] == "None"
    ports = {port["name"] for port in container(name)["ports"]}
    for each in OBJECTS:
        if each["kind"] == "Service" and each["metadata"]["labels"] == labels:
            assert each["spec"]["selector"] == labels
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    assert kubernetes_object("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    policy = kubernetes_object("NetworkPolicy", name)["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports
    volumes = {each["name"] for each in spec["template"]["spec"]["volumes"]}
    volumes |= {each["metadata"]["name"] for each in spec.get("volumeClaimTemplates", ())}
    assert {each["name"] for each in container(name)["volumeMounts"]} == volumes


def test_a_pod_has_the_time_to_drain() -> None:
    pod = kubernetes_object("StatefulSet", "postroom")["spec"]["template"]["spec"]
    before = float(container("postroom")["lifecycle"]["preStop"]["exec"]["command"][1])
    probe = container("postroom")["readinessProbe"]
    assert before > probe["periodSeconds"]
    assert pod["terminationGracePeriodSeconds"] > before + 30
    assert pod["enableServiceLinks"] is False


def test_the_paths_from_outside_are_those_of_the_proxy() -> None:
    """One list, in two places; nothing of the API's port but event streams is among them."""
    nginx = (DEPLOY / "nginx.conf").read_text()
    of_nginx = set(re.findall(r"location (?:= )?(/\S+) \{ proxy_pass http://clients", nginx))
    (rule,) = kubernetes_object("Ingress", "postroom")["spec"]["rules"]
    assert {each["path"] for each in rule["http"]["paths"]} == of_nginx
    assert {each["backend"]["service"]["name"] for each in rule["http"]["paths"]} == {"postroom"}


def test_every_password_comes_from_a_secret_that_the_guide_makes() -> None:
    guide = (REPOSITORY / "docs" / "how-to" / "kubernetes.md").read_text()
    made = {
        (name, key)
        for name, keys in re.findall(r"kubectl create secret generic (\S+)((?:[^\n]|\\\n)*)", guide)
        for key in re.findall(r"--from-literal=([\w-]+)=", keys)
    }
    named = set(re.findall(r"'secretKeyRef': \{'name': '([\w-]+)', 'key': '([\w-]+)'\}", str(OBJECTS)))
    mounted = set(re.findall(r"'secretName': '(postroom)'", str(OBJECTS)))
    assert made == named | {(name, "secret") for name in mounted}


def test_the_one_router_of_the_guide_fits_the_schemas() -> None:
    """And asks for the volume and the secret that it names."""
    (text,) = taken("how-to/kubernetes.md", "test_the_one_router_of_the_guide_fits_the_schemas")
    deployment = yaml.safe_load(text)
    kubernetes_validate.validate(deployment, "1.33", strict=True)
    spec = deployment["spec"]["template"]["spec"]
    (router,) = spec["containers"]
    assert {each["name"] for each in router["volumeMounts"]} == {each["name"] for each in spec["volumes"]}
    named = {each["name"] for each in router["env"]}
    assert not settings.unknown_variables(dict.fromkeys(named, "x"))


# --- NATS, nginx, systemd


def test_nats_takes_its_configuration() -> None:
    assert "is valid" in run(nats_server.binary(), "-t", "-c", "deploy/nats.conf", **NATS_ENVIRONMENT)


def test_one_configuration_of_nats_is_in_both_places() -> None:
    assert kubernetes_object("ConfigMap", "nats")["data"]["nats.conf"] == (DEPLOY / "nats.conf").read_text()


def test_nats_gets_what_its_configuration_asks_for() -> None:
    asked = set(re.findall(r"\$(NATS_\w+)", (DEPLOY / "nats.conf").read_text()))
    assert asked == NATS_ENVIRONMENT.keys()
    assert asked == COMPOSE["services"]["nats-1"]["environment"].keys()
    assert asked <= {each["name"] for each in container("nats")["env"]}


def test_nginx_takes_its_configuration_as_it_stands(tmp_path: Path) -> None:
    own = ("-p", str(tmp_path), "-e", "stderr", "-g", f"pid {tmp_path}/pid;")
    assert "test is successful" in run(nginx.binary(), "-t", "-c", str(nginx.CONFIGURATION), *own)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="there is no systemd-analyze"
)
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd" / "postroom.service").read_text()
    (command,) = re.findall(r"^ExecStart=(\S+) serve --config \S+$", unit, re.MULTILINE)
    file = tmp_path / "postroom.service"
    file.write_text(unit.replace(command, program("postroom")))
    assert not run("systemd-analyze", "verify", str(file))
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop_s) > 30
    for name in re.findall(r"^Environment=(POSTROOM_\w+)=", unit, re.MULTILINE):
        assert name.removeprefix("POSTROOM_").lower() in Settings.__struct_fields__


def test_the_guide_for_systemd_makes_what_the_unit_names() -> None:
    """The user, the program's folder and that of the settings."""
    unit = (DEPLOY / "systemd" / "postroom.service").read_text()
    guide = (REPOSITORY / "docs" / "how-to" / "systemd.md").read_text()
    for pattern in (r"^User=(\S+)$", r"^ExecStart=(/opt/\w+)/bin/postroom ", r" --config (\S+)/postroom.toml$"):
        (named,) = re.findall(pattern, unit, re.MULTILINE)
        assert re.search(rf"^(?:useradd|python3 -m venv|install) .*{named}$", guide, re.MULTILINE), named


# --- What pages show of them


@pytest.mark.parametrize("page", ["cluster.md", "compress.md", "proxy.md", "systemd.md", "tokens.md"])
def test_a_router_takes_the_settings_of_the_guides(page: str, tmp_path: Path) -> None:
    """Each piece of a settings file, with the files that it names; those without a secret have one elsewhere."""
    (tmp_path / "secret").write_text("x" * 32)
    credentials = "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nx\n"
    (tmp_path / "postroom.creds").write_text(credentials)
    for text in taken(f"how-to/{page}", "test_a_router_takes_the_settings_of_the_guides"):
        file = tmp_path / "postroom.toml"
        file.write_text(text)
        elsewhere = {} if "secret_file" in text else {"POSTROOM_SECRET": "x" * 32}
        settings.load(environ=elsewhere, config=file)


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for text in re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            yield page, text


def test_yaml_in_the_guides_can_be_read() -> None:
    for page, text in blocks("yaml"):
        assert [*yaml.safe_load_all(text)], page
