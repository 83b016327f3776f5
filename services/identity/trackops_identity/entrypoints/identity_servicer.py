"""`trackops.identity.v1.IdentityService`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from trackops.identity.v1 import identity_service_pb2 as pb

from trackops_common.auth import principal_of
from trackops_common.bounded_calls import BoundedCalls
from trackops_common.grpc.endpoints import Context
from trackops_identity.application.login import Login
from trackops_identity.application.passwords import (
    ChangePassword,
    RequestPasswordReset,
    ResetPassword,
)
from trackops_identity.application.ports import AccessToken
from trackops_identity.application.refresh_sessions import RevokeSessions
from trackops_identity.application.register_users import RegisterUser
from trackops_identity.application.roles import SetUserRoles
from trackops_identity.application.service_clients import (
    IssueServiceToken,
    NewSecret,
    PutServiceClient,
)
from trackops_identity.application.sessions import GrantedSession
from trackops_identity.domain.session import Session
from trackops_identity.domain.user import User
from trackops_identity.entrypoints.addresses import ClientAddresses
from trackops_identity.entrypoints.converters import (
    client_message,
    roles_of,
    service_tokens_message,
    session_message,
    tokens_message,
    user_message,
)

__all__ = ["IdentityServicer", "UseCases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What the RPCs call."""

    register: BoundedCalls[RegisterUser, User]
    verify_email: BoundedCalls[str, User]
    login: BoundedCalls[Login, GrantedSession]
    refresh: BoundedCalls[str, GrantedSession]
    logout: BoundedCalls[str, None]
    list_sessions: BoundedCalls[UUID, Any]
    revoke_sessions: BoundedCalls[RevokeSessions, Any]
    change_password: BoundedCalls[ChangePassword, None]
    request_reset: BoundedCalls[RequestPasswordReset, None]
    reset_password: BoundedCalls[ResetPassword, None]
    set_roles: BoundedCalls[SetUserRoles, User]
    get_user: BoundedCalls[UUID, User]
    put_client: BoundedCalls[PutServiceClient, NewSecret]
    issue_service_token: BoundedCalls[IssueServiceToken, AccessToken]
    get_key_set: BoundedCalls[None, str]
    rotate_key: BoundedCalls[None, str]


class IdentityServicer:
    """Answers IdentityService; the contract's comments say what each RPC promises."""

    def __init__(self, use_cases: UseCases, addresses: ClientAddresses) -> None:
        self._do = use_cases
        self._addresses = addresses

    async def RegisterUser(
        self, request: pb.RegisterUserRequest, context: Context
    ) -> pb.RegisterUserResponse:
        command = RegisterUser(
            principal_of(context).name, request.request_id, request.email, request.password
        )
        return pb.RegisterUserResponse(user=user_message(await self._do.register.submit(command)))

    async def VerifyEmail(
        self, request: pb.VerifyEmailRequest, context: Context
    ) -> pb.VerifyEmailResponse:
        del context
        user = await self._do.verify_email.submit(request.token)
        return pb.VerifyEmailResponse(user=user_message(user))

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        address = self._addresses.of(context)
        command = Login(
            request.email, request.password, request.device, address, request.new_password
        )
        granted = await self._do.login.submit(command)
        return pb.LoginResponse(
            tokens=tokens_message(granted), session=session_message(granted.session)
        )

    async def RefreshTokens(
        self, request: pb.RefreshTokensRequest, context: Context
    ) -> pb.RefreshTokensResponse:
        del context
        granted = await self._do.refresh.submit(request.refresh_token)
        return pb.RefreshTokensResponse(tokens=tokens_message(granted))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        del context
        await self._do.logout.submit(request.refresh_token)
        return pb.LogoutResponse()

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        del context
        sessions: list[Session] = await self._do.list_sessions.submit(UUID(request.user_id))
        return pb.ListSessionsResponse(sessions=map(session_message, sessions))

    async def RevokeSessions(
        self, request: pb.RevokeSessionsRequest, context: Context
    ) -> pb.RevokeSessionsResponse:
        del context
        command = RevokeSessions(
            UUID(request.user_id), frozenset(UUID(one) for one in request.session_ids)
        )
        ended: list[UUID] = await self._do.revoke_sessions.submit(command)
        return pb.RevokeSessionsResponse(session_ids=map(str, ended))

    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: Context
    ) -> pb.ChangePasswordResponse:
        command = ChangePassword(
            UUID(request.user_id),
            request.password,
            request.new_password,
            self._addresses.of(context),
        )
        await self._do.change_password.submit(command)
        return pb.ChangePasswordResponse()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Context
    ) -> pb.RequestPasswordResetResponse:
        await self._do.request_reset.submit(
            RequestPasswordReset(request.email, self._addresses.of(context))
        )
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(
        self, request: pb.ResetPasswordRequest, context: Context
    ) -> pb.ResetPasswordResponse:
        del context
        await self._do.reset_password.submit(ResetPassword(request.token, request.new_password))
        return pb.ResetPasswordResponse()

    async def SetUserRoles(
        self, request: pb.SetUserRolesRequest, context: Context
    ) -> pb.SetUserRolesResponse:
        del context
        command = SetUserRoles(UUID(request.user_id), roles_of(request.roles))
        return pb.SetUserRolesResponse(user=user_message(await self._do.set_roles.submit(command)))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        del context
        user = await self._do.get_user.submit(UUID(request.user_id))
        return pb.GetUserResponse(user=user_message(user))

    async def PutServiceClient(
        self, request: pb.PutServiceClientRequest, context: Context
    ) -> pb.PutServiceClientResponse:
        del context
        new = await self._do.put_client.submit(
            PutServiceClient(request.client_id, roles_of(request.roles))
        )
        return pb.PutServiceClientResponse(
            client=client_message(new.client), client_secret=new.secret
        )

    async def IssueServiceToken(
        self, request: pb.IssueServiceTokenRequest, context: Context
    ) -> pb.IssueServiceTokenResponse:
        del context
        token = await self._do.issue_service_token.submit(
            IssueServiceToken(request.client_id, request.client_secret)
        )
        return pb.IssueServiceTokenResponse(tokens=service_tokens_message(token))

    async def GetKeySet(
        self, request: pb.GetKeySetRequest, context: Context
    ) -> pb.GetKeySetResponse:
        del request, context
        return pb.GetKeySetResponse(key_set_json=await self._do.get_key_set.submit(None))

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, context: Context
    ) -> pb.RotateSigningKeyResponse:
        del request, context
        return pb.RotateSigningKeyResponse(key_id=await self._do.rotate_key.submit(None))
