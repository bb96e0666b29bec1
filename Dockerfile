# The command ofa-pipeline in a container, on a CPU or a CUDA device; how: docs/guides/running.md.
#
#   docker build --tag ofa-pipeline .                                        # CPU
#   docker build --tag ofa-pipeline:cuda --build-arg TORCH_BACKEND=cu132 .   # CUDA 13

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
# As in the Makefile; a test compares.
ARG UV_VERSION=0.13.9
# Which build of PyTorch: cpu, or a CUDA release as uv calls it. Its wheels bring CUDA along.
ARG TORCH_BACKEND=cpu
# Extras of the package, such as "postgres,s3" for a team's servers.
ARG EXTRAS=""
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_HTTP_TIMEOUT=300
RUN pip install --no-cache-dir uv==${UV_VERSION} && uv venv /opt/ofa
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE requirements.lock ./
COPY params.yaml dvc.yaml .dvcignore ./
COPY .dvc/config .dvc/config
COPY presets presets
COPY ofa_pipeline ofa_pipeline
COPY flows flows
# Constraints, not requirements: what PyTorch needs follows from its build.
RUN uv build --wheel --out-dir /dist \
    && uv pip install --no-cache --python /opt/ofa/bin/python --torch-backend ${TORCH_BACKEND} \
        --constraint requirements.lock "$(ls /dist/*.whl)${EXTRAS:+[${EXTRAS}]}"

FROM python:${PYTHON_VERSION}-slim
# Workspaces are often git repositories, and DVC asks git about them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ofa \
    && install --directory --owner ofa --group ofa /workspace
COPY --from=build /opt/ofa /opt/ofa
# The last two let the NVIDIA container runtime hand its driver in; nobody else reads them.
ENV PATH=/opt/ofa/bin:${PATH} \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# By number: a host that forbids root can tell.
USER 1000
WORKDIR /workspace
ENTRYPOINT ["ofa-pipeline"]
CMD ["--help"]
