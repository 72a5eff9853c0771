# A router in a container: docker build --tag postroom .
#
# It listens on every interface, on 8000 for clients and 8001 for services and operators, runs as a user without rights,
# and writes to /var/lib/postroom alone; in a cluster it writes nothing there.

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
# What is installed beyond the router: cluster (NATS), workers (NATS and a server of it), otel (OpenTelemetry).
ARG EXTRAS=cluster
WORKDIR /src
COPY setup.cfg pyproject.toml PACKAGE.md LICENSE ./
COPY actors ./actors
COPY clients ./clients
COPY server ./server
RUN python -m venv /opt/postroom && \
    /opt/postroom/bin/pip install --no-cache-dir --disable-pip-version-check ./clients/python ".[${EXTRAS}]"

FROM python:${PYTHON}
RUN groupadd --gid 10001 postroom && \
    useradd --uid 10001 --gid postroom --no-create-home --home-dir /var/lib/postroom postroom && \
    install --directory --owner postroom --group postroom --mode 0700 /var/lib/postroom
COPY --from=build /opt/postroom /opt/postroom
ENV PATH=/opt/postroom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    POSTROOM_HOST=0.0.0.0 \
    POSTROOM_API_HOST=0.0.0.0 \
    POSTROOM_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/postroom
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["postroom"]
CMD ["serve"]
