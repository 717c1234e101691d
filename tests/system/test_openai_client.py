"""The `openai` client, as it is, embeds pictures."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openai
import pytest

from models.images import decode
from models.runtime import load_encoder
from tests.system.serving import running_server

pytestmark = pytest.mark.system

PICTURES = 5


@pytest.fixture(scope="module")
def client(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    data_dir = tmp_path_factory.mktemp("openai") / "data"
    with (
        running_server(data_dir, "--encoder", str(bundle)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def files(picture: Callable[..., bytes]) -> list[bytes]:
    return [picture(identity, file_format="JPEG") for identity in range(PICTURES)]


@pytest.fixture(scope="module")
def embedded(bundle: Path, files: list[bytes]) -> npt.NDArray[np.float32]:
    """Embed the pictures in this process, without a server."""
    encoder = load_encoder(bundle, device="cpu")
    spec = encoder.manifest.input
    return encoder.encode(np.stack([decode(file, (spec.height, spec.width)) for file in files]))


def data_uri(file: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"


def test_a_list_in_the_default_encoding_is_what_the_encoder_gives(
    client: openai.OpenAI, files: list[bytes], embedded: npt.NDArray[np.float32]
) -> None:
    answer = client.embeddings.create(model="tiny", input=[data_uri(file) for file in files])
    assert [one.index for one in answer.data] == list(range(PICTURES))
    got = np.array([one.embedding for one in answer.data])
    np.testing.assert_allclose(got, embedded, atol=1e-6)
    assert answer.model == "tiny"
    assert answer.usage.total_tokens == 0


def test_float_and_base64_are_the_same_numbers(client: openai.OpenAI, files: list[bytes]) -> None:
    pictures = [data_uri(file) for file in files]
    default = client.embeddings.create(model="tiny", input=pictures)
    for encoding in ("base64", "float"):
        other = client.embeddings.create(model="tiny", input=pictures, encoding_format=encoding)
        for one, another in zip(default.data, other.data, strict=True):
            # A batch is what waits just then, and its size may change the last bits.
            assert numbers(one.embedding) == pytest.approx(numbers(another.embedding), abs=1e-6)


def numbers(embedding: list[float] | str) -> list[float]:
    """Return the numbers; the client leaves base64 that was asked for as it is."""
    if isinstance(embedding, str):
        return [float(number) for number in np.frombuffer(base64.b64decode(embedding), dtype="<f4")]
    return [float(np.float32(number)) for number in embedding]


def test_one_picture_alone_is_embedded_as_in_a_list(
    client: openai.OpenAI, files: list[bytes], embedded: npt.NDArray[np.float32]
) -> None:
    (one,) = client.embeddings.create(model="tiny", input=data_uri(files[2])).data
    np.testing.assert_allclose(np.array(one.embedding), embedded[2], atol=1e-6)


def test_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "tiny"


def test_an_unknown_model_is_not_found_and_the_known_one_is_named(
    client: openai.OpenAI, files: list[bytes]
) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.embeddings.create(model="text-embedding-3-small", input=data_uri(files[0]))


# The second would be base64 but for its space.
@pytest.mark.parametrize("text", ["a red car, seen from behind", "hello worlds"])
def test_a_text_is_refused_with_what_to_send_instead(client: openai.OpenAI, text: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="data URI") as refusal:
        client.embeddings.create(model="tiny", input=[text])
    assert "/input/0" in str(refusal.value)


def test_another_number_of_dimensions_is_refused_with_the_encoders_own(
    client: openai.OpenAI, files: list[bytes]
) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="16 dimensions"):
        client.embeddings.create(model="tiny", input=data_uri(files[0]), dimensions=8)
