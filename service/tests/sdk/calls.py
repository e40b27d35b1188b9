"""Every call of the reference with mesa-sdk, and its judgement of every delivery.

usage: calls.py API_URL KEY HOOK_URL UPSTREAM_URL OTHER_UPSTREAM_URL DELIVERIES_FILE
"""

import asyncio
import json
import pathlib
import sys

from mesa_sdk import Mesa
from mesa_sdk.types import TokenAuth, UpstreamConfig, UsernamePasswordAuth

API, KEY, HOOK, UPSTREAM, OTHER, DELIVERIES = sys.argv[1:]
# From 0.45 on, a private key that signs tokens.
SECRET = {"private_key": KEY} if KEY.startswith("mesa_private_key_") else {"api_key": KEY}
EVENTS = ["push", "sync.queued", "sync.in_progress", "sync.completed", "sync.failed"]


def kind(repo):
    return repo.to_dict()["upstream"]["auth_kind"]


async def ended(mesa, sync):
    for _ in range(600):
        sync = await mesa.repos.get_upstream_sync(repo="py", sync_id=sync.id)
        if sync.to_dict()["status"] in ("completed", "failed"):
            return sync.to_dict()
        await asyncio.sleep(0.1)
    raise SystemExit("the sync does not end")


async def receive_all(secret, count):
    """Waits for the deliveries, and lets the SDK judge each of them."""
    seen = []
    async with Mesa(**SECRET, api_url=API, webhook_secret=secret) as mesa:
        mesa.webhooks.on(EVENTS, lambda event: seen.append(event["type"]))
        for _ in range(600):
            lines = pathlib.Path(DELIVERIES).read_text().splitlines()
            ours = [json.loads(line) for line in lines]
            if len(ours) >= count:
                break
            await asyncio.sleep(0.1)
        for delivery in ours:
            await mesa.webhooks.receive(delivery["body"], delivery["headers"])
    assert len(seen) == len(ours) >= count, (seen, len(ours), count)
    return set(seen)


async def main():
    async with Mesa(**SECRET, api_url=API) as mesa:
        assert "admin" in (await mesa.whoami()).to_dict()["scopes"]
        if hasattr(mesa, "api_keys"):
            made = await mesa.api_keys.create(name="py", scopes=["read"])
            listed = await mesa.api_keys.list()
            assert made.id in [one.id for one in listed.api_keys]
            await mesa.api_keys.revoke(key_id=made.id)

        target = await mesa.webhook_targets.create(url=HOOK, name="py", events=EVENTS)
        secret = target.to_dict()["secret"]
        listed = await mesa.webhook_targets.list()
        assert target.id in [one.id for one in listed.webhook_targets]

        token = TokenAuth(token="a-token", token_username="x-access-token")
        repo = await mesa.repos.create(name="py", upstream=UpstreamConfig(url=UPSTREAM, auth=token))
        assert kind(repo) == "token"
        assert repo.to_dict()["upstream"]["latest_sync"] is None
        update = lambda **auth: mesa.repos.update(repo="py", upstream=UpstreamConfig(url=UPSTREAM, **auth))
        assert kind(await update()) == "token", "left out keeps"
        assert kind(await update(auth=UsernamePasswordAuth(username="u", password="p"))) == "username_password"
        assert kind(await update(auth=None)) is None, "null clears"

        sync = await ended(mesa, await mesa.repos.sync_upstream(repo="py", direction="pull"))
        assert sync["status"] == "completed", sync
        assert sync["ref_globs"] == {"branches": "*", "tags": "*"}
        outcomes = {ref["name"]: ref["outcome"] for ref in sync["stats"]["refs"]}
        assert outcomes == {"refs/heads/main": "updated"}, outcomes
        globs = {"branches": "main"}
        sync = await ended(mesa, await mesa.repos.sync_upstream(repo="py", direction="pull", ref_globs=globs))
        assert sync["ref_globs"] == {"branches": "main", "tags": ""}
        await mesa.repos.update(repo="py", upstream=UpstreamConfig(url=OTHER))
        sync = await ended(mesa, await mesa.repos.sync_upstream(repo="py", direction="push"))
        assert sync["stats"]["refs"][0]["outcome"] == "updated", sync
        sync = await ended(mesa, await mesa.repos.sync_upstream(repo="py", direction="push", ref_globs={"tags": "v*"}))
        assert sync["stats"]["refs"] == []
        await mesa.repos.update(repo="py", upstream=UpstreamConfig(url=UPSTREAM + "-gone"))
        sync = await ended(mesa, await mesa.repos.sync_upstream(repo="py", direction="pull"))
        assert sync["status"] == "failed" and sync["error"], sync

        page = await mesa.repos.list_upstream_syncs(repo="py", limit=2)
        assert len(page.syncs) == 2 and page.to_dict()["has_more"]
        rest = await mesa.repos.list_upstream_syncs(repo="py", limit=100, cursor=page.next_cursor)
        assert len(rest.syncs) == 3, rest
        repo = await mesa.repos.get(repo="py")
        assert repo.to_dict()["upstream"]["latest_sync"]["id"] == page.syncs[0].id
        repos = await mesa.repos.list(limit=100)
        assert "py" in [one.name for one in repos.repos]

        # Five runs of three events each, and the push of the first one.
        seen = await receive_all(secret, 16)
        assert seen == set(EVENTS), seen

        changed = await mesa.webhook_targets.update(webhook_target_id=target.id, events=["push"])
        assert changed.to_dict()["events"] == ["push"]
        await mesa.webhook_targets.update(webhook_target_id=target.id, repo_ids=[repo.id])
        changed = await mesa.webhook_targets.clear_repo_filter(webhook_target_id=target.id)
        assert changed.to_dict()["repo_ids"] is None
        await mesa.webhook_targets.delete(webhook_target_id=target.id)
        await mesa.repos.update(repo="py", upstream=None)
        assert (await mesa.repos.get(repo="py")).to_dict()["upstream"] is None
        await mesa.repos.delete(repo="py")
    print("ok")


asyncio.run(main())
