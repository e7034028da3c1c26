"""The services and the action of the live node: what they take, and how they answer."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Empty, SetBool, Trigger

from vpr_msgs.srv import LoadMap, MergeMap, MovePlaces, QueryImage, SaveMap
from vpr_ros.errors import RosError, VprError
from vpr_ros.nodes.responder import Responder
from vpr_ros.nodes.services.localization import Attempts, Ending
from vpr_ros.nodes.services.map_calls import load_map, merge_map, save_map
from vpr_ros.nodes.services.move_places import move_places
from vpr_ros.nodes.services.query_image import no_match, query_image
from vpr_ros.nodes.services.searching import LocalizeAction, Searching, Worker
from vpr_ros.nodes.services.waiting import Waiting

Handler = Callable[[Any, Any], Awaitable[Any]]


class Calls:
    """Everything a node can be asked for. Nothing here holds the thread of the executor.

    All call-backs are coroutines; what touches the model or the map is done by the worker. A
    node that is not active says so in every answer.
    """

    def __init__(
        self,
        node: Node,
        responder: Responder,
        worker: Worker,
        attempts: Attempts,
        stack: ExitStack,
        is_active: Callable[[], bool],
    ) -> None:
        self._node = node
        self._responder = responder
        self._worker = worker
        self._is_active = is_active
        self._group = ReentrantCallbackGroup()  # else one that waits keeps the others out
        self._waiting = Waiting(node)
        self._searching = Searching(responder, worker, attempts, self._waiting, is_active)
        self._reinitializing = False
        self._served = ExitStack()
        stack.callback(self._close)
        self._serve()

    @property
    def waited_for(self) -> bool:
        """Whether a call-back waits for something that others do."""
        return self._waiting.count > 0

    def _serve(self) -> None:
        self._offer(LoadMap, '~/load_map', partial(self._on_map, load_map))
        self._offer(SaveMap, '~/save_map', partial(self._on_map, save_map))
        self._offer(MergeMap, '~/merge_map', partial(self._on_map, merge_map))
        self._offer(MovePlaces, '~/move_places', partial(self._on_map, move_places))
        self._offer(QueryImage, '~/query_image', self._query_image)
        self._offer(SetBool, '~/pause', self._pause)
        self._offer(Trigger, '~/resume', self._resume)
        self._offer(Trigger, '~/reset', self._reset)
        self._offer(Trigger, '~/trigger_localization', self._trigger)
        self._offer(Empty, 'reinitialize_global_localization', self._reinitialize)
        action = LocalizeAction(self._node, self._searching, self._group)
        self._served.callback(action.destroy)

    def _offer(self, type_: type, name: str, handle: Handler) -> None:
        async def answer(request: Any, response: Any) -> Any:
            return await self._answered(handle, request, response)

        service = self._node.create_service(type_, name, answer, callback_group=self._group)
        self._served.callback(self._node.destroy_service, service)

    async def _answered(self, handle: Handler, request: Any, response: Any) -> Any:
        try:
            if not self._is_active():
                raise RosError('the node is not active: activate it first')
            return await handle(request, response)
        except VprError as error:
            return self._refused(response, str(error))
        except Exception as error:
            self._node.get_logger().error(traceback.format_exc())
            return self._refused(response, f'failed, the log has more: {error!r}')

    def _refused(self, response: Any, reason: str) -> Any:
        """Why there is no other answer, where responses of this type say it."""
        if isinstance(response, Empty.Response):
            self._node.get_logger().warning(f'not looking for the robot: {reason}')
            return response
        response.message = reason
        if hasattr(response, 'success'):
            response.success = False
        else:
            response.result = response.UNDEFINED
        if isinstance(response, QueryImage.Response):
            response.match = no_match(self._responder, reason)
        return response

    async def _work(self, act: Callable[[], Any]) -> Any:
        """What `act` gives or raises in the worker."""
        job = self._worker.ask(act)
        await self._waiting.until(job.done)
        return job.result()

    async def _on_map(self, act: Callable[[Responder, Any], Any], request: Any, _: Any) -> Any:
        return await self._work(lambda: act(self._responder, request))

    async def _query_image(
        self, request: QueryImage.Request, response: QueryImage.Response
    ) -> QueryImage.Response:
        return await self._work(lambda: query_image(self._responder, request, response))

    async def _pause(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._responder.paused = request.data
        response.success = True
        response.message = (
            'paused: images are not looked at until ~/resume' if request.data else 'resumed'
        )
        return response

    async def _resume(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.message = 'resumed' if self._responder.paused else 'it was not paused'
        self._responder.paused = False
        response.success = True
        return response

    async def _reset(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        await self._work(self._responder.reset)
        response.success = True
        response.message = 'forgot where the robot was and all counts; the map stays'
        return response

    async def _trigger(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        outcome, _ = await self._searching.find(self._searching.default_goal())
        response.success = outcome.ending is Ending.LOCALIZED
        response.message = outcome.message
        return response

    async def _reinitialize(
        self, request: Empty.Request, response: Empty.Response
    ) -> Empty.Response:
        """Begin an attempt and answer at once: a behaviour tree waits 20 ms.

        A tree that ticks on asks again and again: one attempt is enough for all of them.
        """
        executor = self._node.executor
        if not self._reinitializing and executor is not None:
            self._reinitializing = True
            executor.create_task(self._search)
        return response

    async def _search(self) -> None:
        logger = self._node.get_logger()
        try:
            outcome, _ = await self._searching.find(self._searching.default_goal())
            # Two lines: rclpy allows each line that logs one severity only.
            if outcome.ending is Ending.LOCALIZED:
                logger.info(outcome.message)
            else:
                logger.warning(outcome.message)
        except Exception:
            logger.error(traceback.format_exc())
        finally:
            self._reinitializing = False

    def _close(self) -> None:
        """End what is under way; the services go when the last answer has left."""
        self._searching.attempts.abort('the node is being cleaned up or shut down')
        self._waiting.close(self._served.close)
