"""Coupling: which of the flows under way run alone, and which are in groups because links could tie them together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from acesim.network.accelerated import compiled
from acesim.network.ends import Ends, Flow
from acesim.network.groups import DONE, Group, Stuck, together
from acesim.network.loads import Loads
from acesim.network.nested import Nested
from acesim.network.nesting import heights
from acesim.network.routes import RouteTable
from acesim.network.terms import limited


class Coupling:
    """Puts flows together and takes them apart as they come and go; what changes at one instant is solved once.

    table        of the routes
    flows        all that are under way, by key
    ends         takes the completions
    accelerator  as for `Flows`
    loads        which links could bind
    leaving      where flows go that are alone from now on, while nobody else comes; else None
    groups, solved   formed so far, and solved for: the flows of every solution
    """

    def __init__(self, table: RouteTable, flows: dict[int, Flow], ends: Ends, accelerator: str | None) -> None:
        self.loads = Loads(table, flows)
        self.leaving: list[Flow] | None = None
        self.groups = self.solved = 0
        self._table, self._flows, self._ends, self._accelerator = table, flows, ends, accelerator
        self._loose: dict[int, Flow] = {}  # neither alone nor in a group
        self._owners: dict[int, Nested] = {}  # of links that bind
        self._unsolved: dict[int, Nested] = {}  # by number

    def enter(self, flow: Flow) -> None:
        """Take a flow in that has come."""
        self._loose[flow.key] = flow
        self.loads.enter(flow)

    def leave(self, flows: Sequence[Flow], now_s: float) -> None:
        """Let flows go: one, or some of one group."""
        group = flows[0].group
        if isinstance(group, Nested):
            group.stand_at(now_s)
            group.remove([flow.key for flow in flows])
            group.ticket, group.alive = -1, bool(group.keys)
            self._unsolved[group.number] = group
        elif group is not None:
            self._dissolve(group, now_s)
        for flow in flows:
            self._loose.pop(flow.key, None)
            self.leave_alone(flow)

    def leave_alone(self, flow: Flow) -> None:
        """Let a flow go that is in no group."""
        flow.ticket = -1
        self.loads.leave(flow)

    def clear(self) -> None:
        """Let all flows go, none of them coupled to others, as nobody else has come: all are alone."""
        self.leaving = None
        self.loads.clear()

    def settle(self, now_s: float) -> None:
        """Find which links couple their flows now, and solve the groups that have changed."""
        loads = self.loads
        while loads.touched:
            for link in loads.changed():
                if not self._still_coupled(link):
                    self._loosen(loads.members[link].values(), now_s)
        while self._loose:  # a group that is dissolved on the way may hold more than is put together again at once
            self._gather(now_s)
        if self._unsolved:
            for number in sorted(self._unsolved):
                if self._unsolved[number].alive:
                    self._solve(self._unsolved[number])
            self._unsolved = {}

    def _solve(self, group: Nested) -> None:
        self.solved += len(group.keys)
        group.solve(compiled(self.solved, self._accelerator))
        self._ends.enter(group.finish_s, group)

    def _still_coupled(self, link: int) -> bool:
        """Keep a link that no longer binds in its group if the link around it does: all stay coupled anyway."""
        binds, owner = self.loads.binds, self._owners.get(link)
        if binds[link] or owner is None or not owner.alive:
            return False
        outer = owner.around(link)
        binds[link] = outer >= 0 and binds[outer]
        return binds[link]

    # ---------------------------------------------------------------------------------- apart

    def _loosen(self, flows: Iterable[Flow], now_s: float) -> None:
        """Take flows out of what they are in, at the present moment; groups are dissolved."""
        for flow in flows:
            if flow.group is not None:
                self._dissolve(flow.group, now_s)
            elif flow.alone is not None:
                flow.left -= flow.moved(now_s)
                self._set_loose(flow, now_s)

    def _dissolve(self, group: Group, now_s: float) -> None:
        group.alive, group.ticket = False, -1
        if isinstance(group, Nested):
            self.loads.touched.update((link, None) for link in group.links if self.loads.binds[link])
        for key, left in zip(group.keys, group.left(now_s).tolist(), strict=True):
            flow = self._flows[key]
            flow.left, flow.group = left, None
            self._set_loose(flow, now_s)

    def _set_loose(self, flow: Flow, now_s: float) -> None:
        flow.since_s, flow.alone, flow.ticket = now_s, None, -1
        self._loose[flow.key] = flow

    # ---------------------------------------------------------------------------------- together

    def _gather(self, now_s: float) -> None:
        """Let every loose flow run alone, join a group that is there, or form one."""
        loose, self._loose = self._loose, {}
        binds = self.loads.binds
        joining: dict[int, list[Flow]] = {}
        apart: list[Flow] = []
        for key in sorted(loose) if len(loose) > 1 else loose:
            flow = loose[key]
            if flow.group is not None:
                continue
            links = flow.links = tuple([link for link in flow.route if binds[link]])
            owner = self._owners.get(links[0]) if links else None
            if not links:
                self._run_alone(flow, now_s)
            elif owner is not None and owner.alive and owner.takes(links) and self._table.spelt(flow.row):
                joining.setdefault(links[0], []).append(flow)
            else:
                apart.append(flow)
        for link, flows in joining.items():
            self._join(self._owners[link], flows, now_s)
        for flow in apart:
            if flow.group is None:
                self._form_group(flow, now_s)

    def _run_alone(self, flow: Flow, now_s: float) -> None:
        """Let a flow that is coupled to nobody move over the lowest capacity of its route."""
        if self.leaving is not None:
            self.leaving.append(flow)
            return
        flow.alone, flow.since_s = limited(self._table.capacities[flow.row], flow.terms), now_s
        finish_s = flow.alone.time_to_move(flow.left, now_s, DONE * flow.nbytes)
        if finish_s == math.inf:
            raise Stuck((flow.key,), now_s)
        self._ends.enter(finish_s, flow)

    def _join(self, group: Nested, flows: Sequence[Flow], now_s: float) -> None:
        """Let flows join a group."""
        group.stand_at(now_s)
        group.admit(flows)
        for flow in flows:
            flow.group = group
        group.ticket = -1
        self._unsolved[group.number] = group

    def _form_group(self, first: Flow, now_s: float) -> None:
        """Put a flow and all it is coupled to into one group."""
        flows, links = self._coupled(first)
        self._loosen(flows, now_s)
        nesting = heights([flow.links for flow in flows])
        rows = [*(self._table.row((link,)) for link in links), *(flow.row for flow in flows)]
        group: Group
        if nesting is not None and all(map(self._table.spelt, rows)):
            nested = group = Nested(self._table, nesting, flows, self.groups, now_s)
            self._unsolved[self.groups] = nested
            self._owners.update(dict.fromkeys(links, nested))
        else:
            group = self._together(flows, links, now_s)
            self._ends.enter(group.finish_s, group)
        for flow in flows:
            flow.group = group
        self.groups += 1

    def _coupled(self, first: Flow) -> tuple[list[Flow], list[int]]:
        """Return the flows that a chain of binding links ties to one, itself included, by key; and these links."""
        found, links, unseen = {first.key: first}, set[int](), [first]
        while unseen:
            for link in unseen.pop().links:
                if link not in links:
                    links.add(link)
                    fresh = {key: flow for key, flow in self.loads.members[link].items() if key not in found}
                    found.update(fresh)
                    unseen += fresh.values()
        return [found[key] for key in sorted(found)], sorted(links)

    def _together(self, flows: Sequence[Flow], links: Sequence[int], now_s: float) -> Group:
        place = {flow.key: position for position, flow in enumerate(flows)}
        on_links = [np.array(sorted(place[each] for each in self.loads.members[link])) for link in links]
        left, nbytes = np.array([(flow.left, flow.nbytes) for flow in flows]).T
        return together(self._table, list(place), [flow.row for flow in flows], [flow.terms for flow in flows],
                        [self._table.row((link,)) for link in links], on_links, left, DONE * nbytes, now_s)
