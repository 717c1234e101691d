FROM python:3.11-slim-bookworm AS build
# Empty or cpu for a server without a GPU; cu128, auto, ... for one with a GPU.
ARG TORCH_BACKEND=
# The system's certificates, so that a proxy's own certificate can be added to them.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_LINK_MODE=copy
WORKDIR /src
RUN python -m venv /opt/lookalike
# The dependencies first: they change more seldom than the code.
COPY pyproject.toml requirements.lock ./
COPY scripts/install.sh scripts/
RUN --mount=type=cache,target=/root/.cache/uv \
    scripts/install.sh /opt/lookalike/bin/python --requirements pyproject.toml --extra onnx
COPY LICENSE README.md ./
COPY models models/
COPY service service/
RUN --mount=type=cache,target=/root/.cache/uv \
    scripts/install.sh /opt/lookalike/bin/python --no-deps .
# Installers, C++ headers, compilers and the packages' own tests stay behind. torch_shm_manager is
# needed at import. Importing everything then shows that nothing is missed, and leaves the bytecode
# that a read-only container cannot write and would otherwise compile at every start.
WORKDIR /opt/lookalike/lib/python3.11/site-packages
RUN /opt/lookalike/bin/python -m pip uninstall --quiet --yes uv pip \
    && rm -rf torch/include torch/test onnx/backend/test \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -type d -name __pycache__ -prune -exec rm -rf {} + \
    && /opt/lookalike/bin/python -c "import service.app, service.cli, service.cli.losses, models.drawing, models.importing, models.onnx_export, models.training"

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Lookalike" \
      org.opencontainers.image.description="Embedding similarity over REST: who is this, how sure are you, and what else looks like it?" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fresh named volume takes its owner from the folder that it is mounted on.
RUN groupadd --gid 10001 lookalike \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lookalike \
    && install --directory --owner=lookalike --group=lookalike /data
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOOKALIKE_HOST=0.0.0.0 \
    LOOKALIKE_DATA_DIR=/data \
    SQLITE_TMPDIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('LOOKALIKE_PORT', '8000') + '/health/ready', timeout=4)"]
ENTRYPOINT ["lookalike"]
CMD ["serve"]
