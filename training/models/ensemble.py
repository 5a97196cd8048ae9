"""Networks of one architecture that differ in their weights, trained in one go."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class Ensemble(nn.Module):
    """Copies of a network with a leading axis of members in every parameter.

    The sum of the members' losses gives each member the gradient of its own, and optimisers that
    work element by element, such as SGD and Adam, treat members as if they were alone.

    Parameters
    ----------
    networks
        One per member, without running statistics.
    """

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        assert not buffers, "running statistics would be shared by the members"
        self.members = copy.deepcopy(networks[0])
        for name, parameter in self.members.named_parameters():
            parameter.data = parameters[name].detach().clone()

    def forward(self, *inputs: Tensor, shared: bool = False) -> Tensor:
        """Return the members' outputs, (members, …).

        Parameters
        ----------
        inputs
            Of the network, with a leading axis of members.
        shared
            Whether the inputs are the same for all members and have no such axis.
        """

        def call(parameters: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
            return functional_call(self.members, parameters, inputs)

        mapped = vmap(call, in_dims=(0, None if shared else 0), randomness="different")
        return mapped(dict(self.members.named_parameters()), inputs)

    @torch.no_grad()
    def state_of(self, member: int) -> dict[str, Tensor]:
        """Return the `state_dict` of one network."""
        return {name: x[member].clone() for name, x in self.members.named_parameters()}
