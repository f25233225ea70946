import pytest
import torch

from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.outputs import (
    DenseFaces,
    DenseOutput,
    five_landmarks,
    split_parameters,
    to_image,
)
from facesmith.detectors.retinaface.mesh.renderer import Renderer


def output() -> DenseOutput:
    torch.manual_seed(0)
    decoder = MeshDecoder(MeshConfig(filters=(8, 8), coarsest=12))
    torch.nn.init.zeros_(decoder.last.weight)
    return DenseOutput(decoder).eval()


@torch.no_grad()
def neutral(boxes: torch.Tensor, **parameters: float) -> DenseFaces:
    values = torch.zeros(len(boxes), 144)
    for name, value in parameters.items():
        values[:, int(name[1:])] = value
    faces: DenseFaces = output()(values, boxes)
    return faces


def test_parameters_come_apart_in_order() -> None:
    row = torch.arange(144.0)[None] / 1000
    split = split_parameters(row)
    assert torch.equal(split.face, row[:, :128])
    assert torch.equal(split.camera.pose, row[:, 131:134])
    assert split.illumination.location.shape == (1, 3)
    with pytest.raises(RuntimeError):
        split_parameters(row[:, 1:])


def test_a_neutral_face_fills_its_box() -> None:
    boxes = torch.tensor([[100.0, 50.0, 200.0, 150.0], [0.0, 0.0, 20.0, 20.0]])
    faces = neutral(boxes)
    for box, vertices, size in zip(boxes, faces.vertices, (100, 20), strict=True):
        least, most = vertices[:, :2].amin(dim=0), vertices[:, :2].amax(dim=0)
        assert (least > box[:2] - 0.05 * size).all()
        assert (most < box[2:] + 0.05 * size).all()
        assert (most - least)[1] > 0.8 * size
    assert torch.allclose(faces.pose, torch.zeros(2, 3), atol=1e-4)
    # the same face, 5 times smaller, in all three directions
    assert torch.allclose((faces.vertices[0] - torch.tensor([150.0, 100, 0])) / 5 + torch.tensor([10.0, 10, 0]),
                          faces.vertices[1], atol=1e-4)  # fmt: skip


def test_landmarks_in_the_toolkits_order() -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = neutral(torch.tensor([[0.0, 0.0, 100.0, 100.0]])).landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert abs(left_eye[1] - right_eye[1]) < 1e-3


def test_five_landmarks_from_68() -> None:
    points = torch.arange(68.0)[None, :, None].expand(1, 68, 2)
    assert five_landmarks(points)[0, :, 0].tolist() == [38.5, 44.5, 30, 48, 54]


def test_depth_grows_towards_the_viewer_in_pixels() -> None:
    faces = neutral(torch.tensor([[0.0, 0.0, 100.0, 100.0]]))
    points = faces.landmarks68[0]
    assert points[30, 2] > points[27, 2] > points[0, 2]
    turned = neutral(torch.tensor([[0.0, 0.0, 100.0, 100.0]]), p132=0.6)
    assert turned.pose[0, 0] > 30
    lengths = [(f.landmarks68[0, 30] - f.landmarks68[0, 8]).norm().item() for f in (faces, turned)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.06)  # a turn keeps lengths, but for perspective


def test_vertices_lie_where_the_renderer_draws_them() -> None:
    module = output()
    parameters = torch.zeros(1, 144)
    parameters[0, 128:135] = torch.tensor([0.2, -0.1, 0.3, 0.1, 0.5, 0.2, 0.1])
    split = split_parameters(parameters)
    with torch.no_grad():
        faces = module.decoder(split.face)
        picture = Renderer(module.decoder.config.topology.finest)(faces, split.camera, split.illumination, 64)
        vertices = to_image(split.camera, faces[..., :3], torch.tensor([[0.0, 0.0, 64.0, 64.0]]))[0]
    rows, columns = picture.mask[0].nonzero().T
    assert columns.min() + 0.5 == pytest.approx(vertices[:, 0].min().item(), abs=1)
    assert columns.max() + 0.5 == pytest.approx(vertices[:, 0].max().item(), abs=1)
    assert rows.min() + 0.5 == pytest.approx(vertices[:, 1].min().item(), abs=1)
    assert rows.max() + 0.5 == pytest.approx(vertices[:, 1].max().item(), abs=1)


def test_it_can_be_exported() -> None:
    module = output()
    torch.manual_seed(1)
    parameters, boxes = 0.3 * torch.randn(3, 144), torch.tensor([[0.0, 0.0, 50.0, 50.0]]).expand(3, 4).contiguous()
    count = torch.export.Dim("faces", min=1, max=1000)
    shapes = ({0: count}, {0: count})
    exported = torch.export.export(module, (parameters, boxes), dynamic_shapes=shapes).module()
    for found, expected in zip(exported(parameters[:2], boxes[:2]), module(parameters[:2], boxes[:2]), strict=True):
        assert torch.allclose(found, expected, atol=1e-4)
